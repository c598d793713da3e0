"""Freezes the firmware into a MicroPython build of your own: include("firmware/manifest.py")."""

MODULES = "app chip counter font hal inputs lamp oled pages screen settings st7789 start"
for name in MODULES.split():
    module(name + ".py", base_path=".", opt=2)  # noqa: F821
for name in ("fit", "link"):
    module(name + ".py", base_path="../host/satmeter/wire", opt=2)  # noqa: F821
