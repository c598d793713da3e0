"""HEAD: answered as GET is, without the body; what an answer does in the background is done."""

import asyncio

from satmeter.http import server


def asked(app):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    asyncio.run(asyncio.wait_for(server.Heads(app)({"type": "http", "method": "HEAD"}, receive, send), 10))
    return sent


def test_what_an_answer_does_in_the_background_is_done(monkeypatch):
    monkeypatch.setattr(server, "STREAM_S", 0.01)
    done = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
        await asyncio.sleep(0.1)
        done.append(scope["method"])

    assert [each.get("body") for each in asked(app)] == [None, b""] and done == ["GET"]


def test_a_stream_is_ended_after_its_headers(monkeypatch):
    monkeypatch.setattr(server, "STREAM_S", 0.01)
    ended = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"data: 1", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            ended.append(True)

    assert [each.get("body") for each in asked(app)] == [None, b""] and ended
