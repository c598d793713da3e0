"""Puts a mutant in place of its module, in this process and in all that it starts: no file of the tree is changed."""

import importlib.abc
import importlib.machinery
import os
import sys


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from its own file's place, with the mutant's text."""

    def get_code(self, fullname):
        with open(os.environ["SATMETER_MUTANT_TEXT"], encoding="utf-8") as file:
            return compile(file.read(), self.path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname != os.environ["SATMETER_MUTANT"]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        spec.loader = Loader(fullname, spec.origin)
        return spec


if "SATMETER_MUTANT" in os.environ:
    sys.meta_path.insert(0, Finder())
