"""`barewind init`: a repository of a user's own, with nothing of Barewind's code in it."""
