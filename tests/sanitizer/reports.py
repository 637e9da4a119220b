"""Of builds with a sanitizer: what the programs reported while the tests ran, if anything.

    reports.py DIRECTORY    prints and removes the reports there; 1 if there was one
"""

import pathlib
import sys


def main():
    reports = sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_file())
    for path in reports:
        print(f"==> {path.name}\n{path.read_text(errors='replace')}")
        path.unlink()
    print(f"{len(reports)} reports")
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
