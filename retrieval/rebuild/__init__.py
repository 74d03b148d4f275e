"""The rebuild job: what a live release lacks beside newer tables, and the least work that brings it."""
