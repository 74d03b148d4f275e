"""What viewers decide over what they are shown: their controls, the store of them, and what they come to."""
