"""`python -m tests.benchmarks [PART…]` prints tables; `gpu` first checks which packages exist."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        from tests.benchmarks.gpu import main

        main(sys.argv[2:])
    else:
        from tests.benchmarks.parts import main

        main()
