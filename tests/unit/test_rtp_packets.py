"""What a network camera's packets may be: any bytes at all end in pictures, damaged pictures or a sentence."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.camera.streams.rtsp.packets import Packet, PacketError, PictureAssembler
from neverblink.camera.streams.rtsp.payloads import PAYLOADS, codec_head
from neverblink.camera.streams.rtsp.session import video_track


def packet(sequence: int, timestamp: int, *, last: bool, payload: bytes, source: int = 1) -> Packet:
    return Packet(sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source, last, payload)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_packet_are_told(data: bytes) -> None:
    try:
        found = Packet.parsed(data, 96)
    except PacketError:
        return
    assert found is None or len(found.payload) <= len(data) - 12


@settings(max_examples=200)
@given(
    codec=st.sampled_from(sorted(PAYLOADS)),
    packets=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans(), st.binary(max_size=40)), max_size=30
    ),
)
def test_any_payload_ends_in_a_picture_or_a_damaged_one(
    codec: str, packets: list[tuple[int, int, bool, bytes]]
) -> None:
    assembler = PictureAssembler(PAYLOADS[codec][1](), lambda: 0.0)
    sequence, timestamp = 65_530, (1 << 32) - 2
    told = []
    for step, later, last, payload in packets:
        sequence, timestamp = sequence + step, timestamp + later
        told += assembler.push(packet(sequence, timestamp, last=last, payload=payload))
    assert all(bool(picture.data) != bool(picture.damage) or not picture.data for picture in told)
    times = [picture.ticks for picture in told]
    assert all(one != later for one, later in itertools.pairwise(times))


@given(
    pictures=st.lists(st.integers(1, 6), min_size=3, max_size=12),
    lost=st.sets(st.integers(0, 71), max_size=4),
    begin=st.integers(0, 0xFFFF),
)
def test_a_picture_is_whole_if_and_only_if_all_its_packets_came(
    pictures: list[int], lost: set[int], begin: int
) -> None:
    """Across the wrap of the sequence numbers, and wherever the losses lie."""
    assembler = PictureAssembler(PAYLOADS["MP4V-ES"][1](), lambda: 0.0)
    number, told, whole, came_first = 0, [], [], None
    lost -= {sum(pictures)}  # the end, one more picture, comes
    for picture, count in enumerate([*pictures, 1]):
        came = 0
        for place in range(count):
            if number not in lost:
                payload = (b"\x00\x00\x01" if place == 0 else b"") + bytes([picture, place])
                told += assembler.push(packet(begin + number, picture * 3600, last=place == count - 1, payload=payload))
                came += 1
                came_first = number if came_first is None else came_first
            number += 1
        if came == count:
            whole.append(picture)
    assert [found.data[3] for found in told if found.data] == whole
    is_lost_between = any(came_first is not None and came_first < one < number for one in lost)
    assert any(found.damage for found in told) or not is_lost_between


@given(st.text(alphabet="mav=:0123456789/ \r\nvideortpmapfmtcontrol;", max_size=200))
def test_any_description_has_a_track_or_none(text: str) -> None:
    track = video_track(text)
    assert track is None or track.clock_hz >= 1


def test_a_description_names_codec_clock_and_parameters() -> None:
    track = video_track(
        "v=0\r\nm=audio 0 RTP/AVP 0\r\na=control:sound\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKQ==,aM48gA==\r\na=control:trackID=1\r\n"
        "m=application 0 RTP/AVP 98\r\na=control:meta\r\n"
    )
    assert track is not None
    assert (track.codec, track.clock_hz, track.control) == ("H264", 90000, "trackID=1")
    assert codec_head(track.codec, track.parameters) == b"\x00\x00\x00\x01gB\x00)\x00\x00\x00\x01h\xce<\x80"


def test_parameters_that_are_no_base64_are_left_out() -> None:
    assert codec_head("H264", {"sprop-parameter-sets": "A"}) == b""
    assert codec_head("MP4V-ES", {"config": "xyz"}) == b""
