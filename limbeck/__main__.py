"""`python -m limbeck`, the same as `limbeck`; what torchrun starts."""

from limbeck.cli import main

if __name__ == "__main__":
    main()
