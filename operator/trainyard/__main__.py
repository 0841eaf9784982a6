"""`python -m trainyard` runs the operator."""

from trainyard.process import main

if __name__ == "__main__":
    main()
