"""What axe-core has against a page: in the light on a desk, in the dark on a phone."""

from importlib.resources import files

SEEN = (("light", 1280), ("dark", 360))
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
STILL = "*, ::before, ::after { transition: none !important; animation: none !important }"
OF_DIALOGS = {"rules": {"color-contrast": {"enabled": False}}}
"""axe-core takes a dialog's backdrop for its ground; its colours are the ones that are judged on the page."""


class Judge:
    """Collects what is wrong with pages; ask `wrong` at the end."""

    def __init__(self):
        self._axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
        self.wrong = set()

    def look(self, page, name, within=""):
        """Judge a page as it is now; within: only that part of it, such as a dialog."""
        page.add_style_tag(content=STILL)
        for scheme, width in SEEN:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(DRAWN)
            page.evaluate(self._axe)
            options = OF_DIALOGS if within else {}
            found = page.evaluate("([within, options]) => axe.run(within || document, options)", [within, options])
            for rule in found["violations"]:
                for node in rule["nodes"]:
                    why = node["failureSummary"].splitlines()[-1].strip()
                    self.wrong.add(f"{name}, {scheme}, {width} px: {rule['id']}: {node['html'][:120]}: {why}")
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                self.wrong.add(f"{name}, {width} px: is {wide} px wide")

    def verdict(self):
        assert not self.wrong, "\n".join(sorted(self.wrong))
