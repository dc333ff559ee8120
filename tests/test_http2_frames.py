"""Frames of HTTP/2 before h2 sees them: whole ones only, none too long, and a GOAWAY that spares us is no end."""

from __future__ import annotations

import pytest
from framing import pieces
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, SettingsFrame

from bedrock_async.transport._http2_frames import FrameGate

STREAM = 1
SETTINGS = SettingsFrame(0).serialize()
DATA = DataFrame(STREAM, data=b"x" * 16_384).serialize()


def goaway(last_stream_id: int, code: int) -> bytes:
    """Return a GOAWAY with some words for those who debug."""
    return GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code, additional_data=b"bye").serialize()


def passed(data: bytes, size: int | None) -> tuple[bytes, FrameGate]:
    """Return what a gate lets through, and the gate."""
    gate = FrameGate(STREAM)
    return b"".join(frame for piece in pieces(data, size) for frame in gate.receive(piece)), gate


@pytest.mark.parametrize("size", [None, 1, 7, 9, 1000])
@pytest.mark.parametrize("tail", [b"", b"\0", DATA[:-1]])
def test_whole_frames_pass_however_they_come(size: int | None, tail: bytes) -> None:
    """What is complete is let through as it is; what is not waits."""
    gate_output, gate = passed(SETTINGS + DATA + DATA + tail, size)
    assert gate_output == SETTINGS + DATA + DATA
    assert not gate.going_away


@pytest.mark.parametrize("size", [None, 1, 8])
@pytest.mark.parametrize("last_stream_id", [1, 2**31 - 1])
def test_a_polite_goaway_is_noted_and_left_out(size: int | None, last_stream_id: int) -> None:
    """With NO_ERROR, and our stream among those that are spared, what follows still counts."""
    gate_output, gate = passed(SETTINGS + DATA + goaway(last_stream_id, 0) * 2 + DATA, size)
    assert gate_output == SETTINGS + DATA + DATA
    assert gate.going_away


@pytest.mark.parametrize(("last_stream_id", "code"), [(0, 0), (1, 2), (2**31 - 1, 11)])
def test_any_other_goaway_passes(last_stream_id: int, code: int) -> None:
    """One with an error, or that does not spare our stream, is the end."""
    data = SETTINGS + goaway(last_stream_id, code)
    gate_output, gate = passed(data, None)
    assert gate_output == data
    assert not gate.going_away


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (DATA, "its first frame is not SETTINGS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "its first frame is not SETTINGS"),
        (SETTINGS + b"\0\x40\x01" + DATA[3:9], "a frame of 16385 bytes; 16384 are allowed"),
        (SETTINGS + b"\xff\xff\xff" + DATA[3:9], "a frame of 16777215 bytes; 16384 are allowed"),
    ],
)
def test_what_no_server_says(data: bytes, complaint: str, size: int | None) -> None:
    """It is refused by its first nine bytes: nobody waits for the rest."""
    with pytest.raises(ValueError, match=complaint):
        passed(data, size)


def test_frames_before_a_fault_pass_one_by_one() -> None:
    """Each frame is let through before what follows it is looked at."""
    gate = FrameGate(STREAM)
    frames = gate.receive(SETTINGS + DATA + b"\xff\xff\xff" + DATA[3:9])
    assert [next(frames), next(frames)] == [SETTINGS, DATA]
    with pytest.raises(ValueError, match="16384 are allowed"):
        next(frames)


def test_the_frames_of_this_file_are_what_they_are_called() -> None:
    """The library that made them reads them as such."""
    frame, length = Frame.parse_frame_header(memoryview(DATA[:9]))
    assert isinstance(frame, DataFrame)
    assert length == 16_384
