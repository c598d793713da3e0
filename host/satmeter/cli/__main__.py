"""python -m satmeter.cli"""

from .main import main

main()
