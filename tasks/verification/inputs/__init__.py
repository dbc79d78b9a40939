"""What a calculation starts from: sampling, magnetic moments, molecules, resources."""
