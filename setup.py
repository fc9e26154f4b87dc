"""Builds the wheel, in which the folders of the checkout are subpackages of balm_forecasting."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from balm_forecasting.checkout import write_package  # noqa: E402


class BuildPackage(build_py):
    """For a wheel the whole package is written; an editable installation imports the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_package(Path(self.build_lib) / "balm_forecasting", ROOT)


setup(cmdclass={"build_py": BuildPackage})
