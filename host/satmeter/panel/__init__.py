"""Pages: a panel for each side, on NiceGUI. Nothing is fetched from anywhere but the panel itself."""
