"""`python -m server`: serve the model that the environment names."""

import os
import sys

from server.lifecycle import main

sys.exit(main(os.environ))
