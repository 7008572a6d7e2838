"""Training: recipes, one loop, and a script a stage."""
