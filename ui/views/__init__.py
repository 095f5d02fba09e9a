"""The pages one can go to, a file each: a function of the shelf that draws it."""
