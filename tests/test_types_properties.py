"""Requests, responses and events made from the service model's shapes, against botocore's serializer and parser."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import pytest
from botocore_reading import (
    invalid_members,
    output_shape,
    parsed,
    parsed_events,
    pruned,
    serialized,
    structure,
)
from hypothesis import HealthCheck, example, given, settings
from strategies import bodies, damaged, events, json_objects, parameters, responses

from bedrock_async import ConverseRequest, ConverseResponse, Message, UnknownBlock
from bedrock_async.errors import EventDecodeError, ResponseDecodeError
from bedrock_async.events import ConverseEventDecoder, event_from_wire, read_model
from bedrock_async.eventstream import encode_frame
from bedrock_async.folding import fold

# Examples are large, so making them is what takes long.
SHAPES: Final = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SHAPES
@given(parameters("ConverseRequest"))
def test_any_valid_request_is_sent_as_botocore_sends_it(members: dict[str, Any]) -> None:
    """boto3's keyword arguments become the same JSON and the same path as in botocore, and come back unchanged."""
    if members.get("additionalModelRequestFields", "") is None:
        del members["additionalModelRequestFields"]  # at the top botocore leaves None out, we keep an explicit null
    path, body = serialized("Converse", members)

    request = ConverseRequest.from_dict(members)

    assert invalid_members("Converse", members) == ""
    assert request.to_wire() == body
    assert json.loads(request.to_wire_bytes()) == body
    assert request.to_dict() == members
    assert ConverseRequest.from_wire(body, model_id=members["modelId"]) == request
    assert path == f"/model/{quote(members['modelId'], safe='-._~')}/converse"


@SHAPES
@given(bodies("ConverseRequest"))
def test_any_request_of_a_later_version_of_the_service_survives(body: dict[str, Any]) -> None:
    """Members and blocks that no model knows come through from_wire and to_wire, and through both dict forms."""
    body.pop("modelId")
    request = ConverseRequest.from_wire(body)

    assert request.to_wire() == body
    assert json.loads(request.to_wire_bytes()) == body
    assert ConverseRequest.from_dict(request.to_dict()) == request


@SHAPES
@given(responses())
def test_any_response_is_kept_whole_and_read_as_botocore_reads_it(wire: dict[str, Any]) -> None:
    """Explicit nulls, foreign members and foreign blocks included; what the model knows equals botocore's reading."""
    body = json.dumps(wire).encode()
    response = ConverseResponse.from_wire(body)

    assert response.to_wire() == wire
    assert json.loads(response.to_wire_bytes()) == wire
    assert ConverseResponse.from_dict(response.to_dict()) == response
    assert pruned(response.to_dict(), output_shape("Converse")) == parsed("Converse", body)


@SHAPES
@given(events())
@example({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"newKind": {"a": None}}, "x": 1}})
def test_any_event_is_kept_whole_and_read_as_botocore_reads_it(wire: dict[str, Any]) -> None:
    """An event in a frame, padded as the service pads it: to_wire has all but the padding, to_dict is botocore's."""
    ((name, members),) = wire.items()
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    body = encode_frame(headers, json.dumps({**members, "p": "abcdefgh"}).encode())

    (event,) = ConverseEventDecoder().receive(body)

    assert event.to_wire() == wire
    assert event_from_wire(wire).to_wire() == wire
    assert [pruned(event.to_dict(), structure("ConverseStreamOutput"))] == parsed_events(body)


@SHAPES
@given(events())
def test_any_single_event_folds_into_a_response(wire: dict[str, Any]) -> None:
    """Whatever members an event lacks, the response so far can be had."""
    assert fold([event_from_wire(wire)]).to_wire()["output"]


@given(json_objects().filter(lambda made: not made.keys() & structure("ContentBlock").members.keys()))
@example({"raw": {"newBlock": {}}})
@example({"raw": None})
@example({"$beside": {}})
@example({})
def test_a_block_nobody_knows_is_kept_as_it_is(block: dict[str, Any]) -> None:
    """Any object that has no tag we know is an UnknownBlock, whole, whatever its member is called."""
    message = Message.from_wire({"role": "assistant", "content": [block]})
    (kept,) = message.content
    assert isinstance(kept, UnknownBlock)
    assert kept.raw == block
    assert message.to_wire() == message.to_dict() == {"role": "assistant", "content": [block]}
    assert Message.from_dict(message.to_dict()) == message


@SHAPES
@given(damaged(bodies("ConverseRequest")) | damaged(responses()))
@pytest.mark.parametrize("kind", [ConverseRequest, ConverseResponse])
def test_damaged_json_is_read_or_refused(kind: type[ConverseRequest | ConverseResponse], wire: dict[str, Any]) -> None:
    """from_wire returns an object that says the same again, or raises a ValueError; bytes and dicts are alike."""
    try:
        made = kind.from_wire(wire)
    except ValueError:
        return
    again = made.to_wire()
    assert kind.from_wire(again).to_wire() == again
    assert json.loads(made.to_wire_bytes()) == again


@SHAPES
@given(damaged(responses()))
def test_a_damaged_response_is_read_or_is_an_error_of_our_tree(wire: dict[str, Any]) -> None:
    """A response that is not as documented raises ResponseDecodeError and nothing else."""
    body = json.dumps(wire).encode()
    with suppress(ResponseDecodeError):
        assert isinstance(read_model(ConverseResponse, body).to_dict(), dict)


@SHAPES
@given(damaged(events()))
def test_a_damaged_event_is_read_or_is_an_error_of_our_tree(wire: dict[str, Any]) -> None:
    """Decoding, both forms, every property and folding raise EventDecodeError or ResponseDecodeError, nothing else."""
    with suppress(EventDecodeError, ResponseDecodeError):
        event = event_from_wire(wire)
        assert event.to_wire() == wire
        event.to_dict()
        for part in (event, getattr(event, "delta", None)):
            for name in dir(part):
                getattr(part, name)
        fold([event])
