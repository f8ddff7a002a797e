"""Exchange of settings with ComfyUI's workflows."""
