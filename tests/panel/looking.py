"""A page in a browser: opened, read and pictured."""

from playwright.sync_api import expect


def fact(page, name):
    return page.locator(f"[data-fact={name}]").first


def opened(buyer, picture, price="1sat/Wh", budget="1000sat"):
    """Upload a picture on the buyer's page, and open the stream that it shows."""
    buyer.locator("input[type=file]").set_input_files(files=[picture])
    found = buyer.locator("[data-part=found]")
    expect(found).to_contain_text("Meter socket")
    found.locator("[data-part=max-price]").fill(price)
    found.locator("[data-part=budget]").fill(budget)
    found.get_by_role("button", name="Open a stream").click()
    stream = buyer.locator("[data-stream]").first
    expect(stream).to_be_visible()
    return stream.get_attribute("data-stream")


def shot(page, part="[data-part=qr]"):
    """A screenshot of a part of a page, as a file to upload."""
    return {"name": "shot.png", "mimeType": "image/png", "buffer": page.locator(part).screenshot()}
