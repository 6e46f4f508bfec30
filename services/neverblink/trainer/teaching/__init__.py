"""What is taught of known defects: synthetic ones, the U-Net, the classifier."""
