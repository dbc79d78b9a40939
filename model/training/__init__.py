"""The stages of training: encoder, alignment, joint, instruction."""
