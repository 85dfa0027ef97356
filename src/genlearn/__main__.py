"""`python -m genlearn`, and `torchrun -m genlearn` over many processes."""

from genlearn.cli import main

if __name__ == "__main__":
    main()
