"""Pictures from prompts: settings, models and pipeline."""
