"""AdamW's constants (Loshchilov and Hutter 2019); not hyperparameters here."""

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.99, 1e-8
