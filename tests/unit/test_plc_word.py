"""The words on the wire: what is encoded is decoded, and a word never speaks of another part in flight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.plc.contract import Confirm, GateCode, TellStatus
from neverblink.plc.word import (
    EPOCHS,
    MAIL_PARTS,
    NUMBERS,
    PARTS,
    acknowledge,
    acknowledged,
    decode_gate,
    decode_mail,
    decode_verdict,
    encode_gate,
    encode_mail,
    encode_verdict,
    newest_number,
    next_seq,
    parts_behind,
)

epochs = st.integers(0, 0xFFFF)
numbers = st.integers(0, NUMBERS - 1)
codes = st.integers(0, 255)
seqs = st.integers(1, 255)
mail_codes = st.integers(1, 15)


@given(epochs, numbers, codes)
def test_a_verdict_word_is_one_uint32_and_decodes_to_what_was_encoded(epoch: int, number: int, code: int) -> None:
    word = encode_verdict(epoch, number, code)
    said = decode_verdict(word)
    assert 0 <= word < NUMBERS
    assert (said.epoch, said.part, said.code) == (epoch % EPOCHS, number % PARTS, code)
    assert said.is_for(epoch, number)


@given(epochs, numbers, st.integers(1, PARTS - 1))
def test_a_pass_never_releases_another_part_within_a_million(epoch: int, number: int, distance: int) -> None:
    said = decode_verdict(encode_verdict(epoch, number, 1))
    assert said.releases(epoch, number)
    assert not said.releases(epoch, (number + distance) % NUMBERS)


@given(epochs, numbers, st.integers(1, EPOCHS - 1))
def test_a_pass_never_releases_the_same_number_of_the_next_epochs(epoch: int, number: int, later: int) -> None:
    assert not decode_verdict(encode_verdict(epoch, number, 1)).releases(epoch + later, number)


@given(epochs, numbers, codes.filter(lambda code: code != 1))
def test_only_code_one_releases(epoch: int, number: int, code: int) -> None:
    assert not decode_verdict(encode_verdict(epoch, number, code)).releases(epoch, number)


def test_the_layout_is_the_one_that_plc_programmers_were_given() -> None:
    assert encode_verdict(0x2, 0xABCDE, 0x01) == 0x2ABCDE01
    assert encode_gate(0x2, 0xABCDE, GateCode.REJECTED, Confirm.SEEN) == 0xABCDE212


@given(epochs, numbers, st.sampled_from(GateCode), st.sampled_from(Confirm))
def test_a_gate_entry_decodes_to_what_was_encoded(epoch: int, number: int, action: GateCode, confirm: Confirm) -> None:
    entry = decode_gate(encode_gate(epoch, number, action, confirm))
    assert (entry.part, entry.action, entry.confirm, entry.epoch) == (
        number % PARTS,
        action,
        confirm,
        epoch % EPOCHS,
    )


@given(numbers, st.integers(0, PARTS - 1))
def test_the_full_number_is_found_again_from_its_lowest_bits(latest: int, behind: int) -> None:
    number = (latest - behind) % NUMBERS
    assert newest_number(number % PARTS, latest) == number
    assert parts_behind(latest, number) == behind


@given(seqs, epochs, numbers, mail_codes)
def test_a_mail_is_one_uint32_and_decodes_to_what_was_encoded(seq: int, epoch: int, number: int, code: int) -> None:
    word = encode_mail(seq, epoch, number, code)
    mail = decode_mail(word)
    assert 0 < word < NUMBERS
    assert (mail.seq, mail.part, mail.epoch, mail.low) == (seq, number % MAIL_PARTS, epoch % EPOCHS, code)


@given(seqs, epochs, numbers, mail_codes, st.sampled_from(TellStatus))
def test_an_acknowledgement_is_the_mail_with_a_status(
    seq: int, epoch: int, number: int, code: int, status: TellStatus
) -> None:
    mail = encode_mail(seq, epoch, number, code)
    ack = acknowledge(mail, status)
    assert 0 <= ack < NUMBERS
    assert acknowledged(mail, ack) == (status or None)
    assert acknowledged(encode_mail(next_seq(seq), epoch, number, code), ack) is None
    assert acknowledged(encode_mail(seq, epoch + 1, number, code), ack) is None
    assert acknowledged(encode_mail(seq, epoch, number + 1, code), ack) is None


def test_a_seq_wraps_past_zero_so_that_no_mail_is_the_empty_word() -> None:
    seq, seen = 1, set()
    for _ in range(255):
        seen.add(seq)
        seq = next_seq(seq)
    assert (seq, seen, next_seq(0)) == (1, set(range(1, 256)), 1)
    for seq, code in ((0, 1), (256, 1), (1, 0), (1, 16)):
        with pytest.raises(ValueError, match="a mail's"):
            encode_mail(seq, 1, 1, code)


def test_the_mails_layout_is_the_one_that_plc_programmers_were_given() -> None:
    assert encode_mail(0xAB, 0x7, 0x1CDEF, 0x2) == 0xABCDEF72
    assert acknowledge(0xABCDEF72, TellStatus.ALREADY_TOLD) == 0xABCDEF74
