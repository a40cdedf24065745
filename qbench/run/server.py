"""The warm server under the name that parents of every version call: `python -m qbench.run.server FD`."""

from qbench.run.executors.local.server import main

if __name__ == "__main__":
    main()
