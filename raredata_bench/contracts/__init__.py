"""What an author of a component writes, and what the harness promises to call: methods, learners, scorers."""
