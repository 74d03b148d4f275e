"""Full-catalogue metrics and the evaluation of any Recommender."""
