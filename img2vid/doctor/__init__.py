"""`img2vid doctor`: checks of this computer, each with a finding and, if needed, a remedy."""
