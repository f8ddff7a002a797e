"""`img2vid doctor`: looks at this computer and says for each thing what was found and, where need be, what to do."""
