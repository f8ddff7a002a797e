"""Image and video input and output between files and numpy arrays, independent of torch and Streamlit."""
