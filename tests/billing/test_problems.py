"""Errors as clients of the service read them."""

import json

from fastapi import FastAPI
from fastapi.testclient import TestClient

from satmeter.billing import errors as problem
from satmeter.node.rpc import Node


def test_what_a_problem_says_is_json():
    from satmeter.http.problem import problem as answer

    said = json.loads(answer(400, "BadParam", "x: y", 2101).body)
    assert said == {"type": "urn:satmeter:error:2101", "title": "BadParam", "status": 400, "detail": "x: y"}


def test_where_the_nodes_socket_is_is_no_clients_business():
    app = FastAPI()
    problem.install(app, None)

    @app.get("/")
    def ask():
        Node("/home/ann/.lightning/lightning-rpc").info()

    answer = TestClient(app).get("/")
    assert answer.status_code == 502 and "the node does not answer" in answer.json()["detail"]
    assert "/home" not in answer.text
