"""Both pages in a real browser, with a board in software between two nodes: from the plug to the receipt."""

import re

import pytest
from looking import fact, opened, shot
from playwright.sync_api import expect

from satmeter import devnet
from satmeter.qr.read import load, read


def figures(page, session):
    """The figures of a receipt as a page shows them."""
    cells = page.locator(f"[data-session='{session}'] [data-figure]")
    expect(cells.first).to_be_attached()
    return {c.get_attribute("data-figure"): c.text_content() for c in cells.all()}


def paid(page):
    """How many payments the buyer's page tells."""
    return int(re.search(r"in ([\d,]+) payments", fact(page, "paid").text_content())[1])


def turn(page, steps):
    """Turn the potentiometer by the keyboard, from its beginning."""
    knob = page.locator(".q-slider__track-container")
    knob.focus()
    for _ in range(11):
        knob.press("PageDown")  # ten per cent each
    for _ in range(steps):
        knob.press("ArrowRight")


@pytest.fixture
def plugged(panels, tab):
    """The seller's page with something plugged in, ready for a sale; unplugged and turned off afterwards."""
    page = tab(panels[0].url + "/sell/socket")
    switch = page.get_by_role("switch", name="Plugged in")
    expect(switch).to_be_visible()
    if switch.get_attribute("aria-checked") != "true":
        switch.press("Space")
    expect(fact(page, "state")).to_have_text("standby")
    yield page
    turn(page, 0)
    if switch.get_attribute("aria-checked") == "true":
        switch.press("Space")
    expect(fact(page, "state")).to_have_text("standby")


def test_from_the_plug_to_the_receipt(net, panels, tab, plugged):
    seller = plugged
    picture = shot(seller)
    texts = [f.text for f in read(load(picture["buffer"]))]
    assert texts == [seller.locator("[data-part=code]").text_content()]
    buyer = tab(panels[1].url + "/buy")
    session = opened(buyer, picture)
    expect(fact(seller, "state")).to_have_text("delivering")
    led = seller.locator("[data-part=led]")
    expect(led).to_have_class(re.compile(r"\bon\b"))

    turn(seller, 30)
    first = paid(buyer)
    buyer.wait_for_function(
        "n => { const m = /in ([0-9,]+) payments/.exec(document.querySelector('[data-fact=paid]').textContent);"
        " return m && parseInt(m[1]) >= n; }",
        arg=first + 2,
    )
    expect(seller.locator("[data-part=runs]")).to_contain_text("paid")
    flow = net["seller"].rpc.call("meter-status", ["socket"])["meters"][0]["flow"]
    shown = float(fact(seller, "flow").text_content().split()[0].replace(",", ""))
    assert shown > 0 and abs(shown - flow / 100) <= 1

    seller.get_by_role("switch", name="Plugged in").press("Space")
    expect(fact(seller, "state")).to_have_text("standby")
    badge = buyer.locator(f"[data-session='{session}']")
    expect(badge).to_contain_text("signature checked")
    expect(seller.locator(f"[data-session='{session}']")).to_contain_text("signature checked")
    theirs, ours = figures(seller, session), figures(buyer, session)
    assert theirs == ours and theirs["refunded_msat"] != "0 sat" and theirs["charged_msat"] != "0 sat"

    rows = net["seller"].rpc.call("meter-sessions", {"name": "socket"})["sessions"]
    assert any(r["id"] == session and r["reason"] == "unplugged" for r in rows)


def test_an_invoice_made_on_one_page_is_paid_on_the_other(panels, tab, plugged):
    seller, buyer = plugged, tab(panels[1].url + "/buy")
    seller.get_by_label("amount (default: a quantum)").fill("15")
    seller.get_by_role("button", name="New invoice").click()
    code = seller.locator("[data-part=code]")
    expect(code).to_contain_text("LNBCRT")
    expect(seller.locator("[data-part=wallet]")).to_have_attribute("href", f"lightning:{code.text_content()}")
    seller.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as over plain http
    seller.get_by_role("button", name="Copy").click()
    expect(seller.get_by_role("button", name="Copied")).to_be_visible()
    paste = buyer.locator("input[data-part=paste], [data-part=paste] input, textarea[data-part=paste]").first
    paste.focus()
    paste.press("Control+V")
    expect(paste).to_have_value(code.text_content())
    buyer.get_by_role("button", name="Go").click()
    found = buyer.locator("[data-part=found]")
    expect(found).to_contain_text("of 15 sat")
    found.get_by_role("button", name="Pay").click()
    expect(fact(seller, "credit")).to_have_text("15 sat")
    expect(fact(seller, "state")).to_have_text("delivering")


def test_pause_budget_and_end(panels, tab, plugged):
    seller, buyer = plugged, tab(panels[1].url + "/buy")
    session = opened(buyer, shot(seller))
    card = buyer.locator(f"[data-stream='{session}']")
    state = card.locator("[data-fact=state]")
    expect(state).to_have_text("streaming")
    card.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    card.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("streaming")
    card.get_by_role("button", name="Budget").click()
    caps = buyer.get_by_label("budget in all")
    caps.fill("nonsense")
    buyer.get_by_role("button", name="Save").click()
    expect(buyer.get_by_text("budget_msat: must be an amount")).to_be_visible()
    caps.fill("700")
    buyer.get_by_role("button", name="Save").click()
    expect(fact(card, "left")).to_contain_text("of 700 sat")
    card.get_by_role("button", name="End").click()
    buyer.get_by_role("button", name="End it").click()
    expect(buyer.locator(f"[data-session='{session}']")).to_contain_text("signature checked")


def test_what_the_seller_can_do(net, panels, tab, plugged):
    seller, buyer = plugged, tab(panels[1].url + "/buy")
    session = opened(buyer, shot(seller))
    expect(fact(seller, "state")).to_have_text("delivering")
    seller.get_by_role("button", name="Close the session").click()
    seller.get_by_role("button", name="End it").click()
    expect(fact(seller, "state")).to_have_text("standby")
    expect(seller.locator(f"[data-session='{session}']")).to_contain_text("signature checked")
    with seller.expect_download() as download:
        seller.get_by_role("button", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("id,meter,") and any(line.startswith(session) for line in lines)
    expect(fact(seller, "history-total")).to_contain_text("earned")
    assert download.value.suggested_filename == "socket-all.csv"
    seller.get_by_role("button", name="Tariff").click()
    price = seller.get_by_label("price of a unit")
    price.fill("0")
    seller.get_by_role("button", name="Save").click()
    expect(seller.get_by_text("price_msat: must be from 1")).to_be_visible()
    price.fill("2")
    seller.get_by_role("button", name="Save").click()
    expect(price).not_to_be_visible()
    changed = net["seller"].rpc.call("meter-set", {"name": "socket", "price_msat": 1000})
    assert changed["tariff"]["ticks_per_unit"] == 100
    rows = net["seller"].rpc.call("meter-history", {"stream": "meter/socket", "newest": True, "limit": 2})["events"]
    assert '"price_msat":2000' in rows[0]["data"] and '"price_msat":1000' in rows[1]["data"]


def test_a_stream_over_the_cap_is_refused_in_words(panels, tab, plugged):
    buyer = tab(panels[1].url + "/buy")
    buyer.locator("input[type=file]").set_input_files(files=[shot(plugged)])
    found = buyer.locator("[data-part=found]")
    found.locator("[data-part=max-price]").fill("1msat/Wh")
    found.locator("[data-part=budget]").fill("10sat")
    found.get_by_role("button", name="Open a stream").click()
    expect(
        buyer.get_by_role("alert").get_by_text("not opened: OverCap: price 1000 msat per Wh is over")
    ).to_be_visible()


def test_a_meter_is_added_and_found(net, panels, tab):
    page = tab(panels[0].url + "/sell")
    page.get_by_role("button", name="Add a meter").click()
    page.get_by_label("name: a-z, 0-9 and -").fill("tap")
    page.get_by_label("price of a unit").fill("5 sat")
    page.get_by_label("ticks that the board counts for a unit").fill("10")
    page.get_by_label("most that a buyer has at risk").fill("50sat")
    page.get_by_role("button", name="Save").click()
    row = page.get_by_role("link", name="tap")
    expect(row).to_be_visible()
    row.click()
    expect(page.get_by_text("is it connected, and its bridge running?")).to_be_visible()
    net["seller"].rpc.call("meter-remove", ["tap"])
    expect(page.get_by_text("there is no meter 'tap'", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", ["/sell", "/sell/socket", "/buy"])
def test_usable_on_a_small_phone_and_in_the_dark(panels, tab, path):
    url = panels[path == "/buy"].url + path
    page = tab(url, color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    page.wait_for_timeout(300)  # the layout settles
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(document.activeElement.textContent || document.activeElement.ariaLabel || '').trim()")
        )
    wanted = {"/sell": "Add a meter", "/sell/socket": "Tariff", "/buy": "Camera"}[path]
    assert any(wanted in text for text in reached), reached


def test_the_unit_is_chosen_and_kept(panels, tab):
    page = tab(panels[0].url + "/sell/socket")
    page.get_by_label("unit of amounts").click()
    page.get_by_role("option", name="msat").click()
    expect(fact(page, "credit")).to_contain_text("msat")
    page.reload()
    expect(fact(page, "credit")).to_contain_text("msat")


def test_a_node_that_goes_is_said_and_comes_back(net, panels, tab):
    page = tab(panels[1].url + "/buy")
    expect(fact(page, "total")).to_be_visible()
    net["buyer"].rpc.call("plugin", {"subcommand": "stop", "plugin": str(net_plugin())})
    expect(page.locator(".warning").first).to_contain_text("stream-list")
    net["buyer"].rpc.call("plugin", {"subcommand": "start", "plugin": str(net_plugin())})
    expect(page.locator(".warning").first).to_be_hidden()


def net_plugin():
    from satmeter.devnet import STREAM

    return STREAM


def test_a_payment_that_nobody_knows_the_session_of_is_seen_by_a_person(net, panels, tab):
    seller, page = net["seller"].rpc, tab(panels[0].url + "/sell")
    journal = seller.call("meter-invoice", {"name": "socket"})["label"].split("/")[1]
    label = f"satmeter/{journal}/s/{'0' * 32}/1"
    made = seller.call("invoice", {"amount_msat": 3000, "label": label, "description": "x"})
    seller.call("plugin", {"subcommand": "stop", "plugin": devnet.METER.name})  # else its hook refuses it
    net["buyer"].rpc.call("xpay", {"invstring": made["bolt11"], "maxfee": 1000})
    seller.call("plugin", {"subcommand": "start", "plugin": str(devnet.METER)})
    alarms = page.locator("[data-part=alarms]")
    expect(alarms).to_contain_text("3 sat came for")
    alarms.get_by_role("button", name="Seen").click()
    page.get_by_role("dialog").get_by_role("button", name="Seen").click()
    expect(alarms).to_be_empty()
    assert not seller.call("meter-status")["unowned"]
