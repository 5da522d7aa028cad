"""Archives: the same files from every kind, nothing outside the folder, no damage overlooked, whole downloads."""

import hashlib
import io
import logging
import os
import random
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest
from packing import pack

from deepspeech_sparse.corpora.archive import _fetch, download, read_files, unpack
from deepspeech_sparse.errors import InputError

FILES = {"a/one.txt": b"one" * 500, "a/b/two.raw": bytes(range(256)) * 40, "three": b""}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip", "folder"])
def test_every_kind_of_archive_gives_the_same_files(tmp_path, name):
    source = pack(FILES | {"__MACOSX/a/._one.txt": b"-", "a/._one.txt": b"-", ".DS_Store": b"-"}, tmp_path / name)
    assert dict(read_files(source)) == {PurePosixPath(name): content for name, content in FILES.items()}
    assert [str(path) for path, _ in read_files(source, lambda path: path.suffix == ".raw")] == ["a/b/two.raw"]

    unpacked = unpack(source, tmp_path / "out", lambda path: path.suffix != ".raw")
    assert sorted(path.name for path in unpacked) == ["one.txt", "three"]
    assert all(path.read_bytes() == FILES["a/one.txt" if path.suffix else "three"] for path in unpacked)
    assert (tmp_path / "out").exists() is bool(source.suffix), "a folder is used where it is"


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "..\\evil", "a\\..\\..\\evil", "C:\\evil", "C:evil", "\\\\host\\evil", ".."],
)
def test_a_member_that_leads_outside_is_refused(tmp_path, kind, name):
    source = pack({"good": b"1", name: b"2"}, tmp_path / f"x{kind}")
    with pytest.raises(InputError, match="leads outside"):
        unpack(source, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("*evil*"))


def add_link(archive: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    archive.addfile(member)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../etc/passwd"),
        (tarfile.SYMTYPE, ".."),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../secret"),
    ],
)
def test_a_link_that_leads_outside_is_refused(tmp_path, kind, target):
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add_link(archive, "link", target, kind)
    with pytest.raises(InputError, match="leads outside"):
        unpack(tmp_path / "x.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_inside_becomes_a_file(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("a/one")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
        add_link(archive, "b/soft", "../a/one", tarfile.SYMTYPE)
        add_link(archive, "c/hard", "a/one", tarfile.LNKTYPE)
    unpack(tmp_path / "x.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a/one": b"abc", "b/soft": b"abc", "c/hard": b"abc"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_a_link_to_nothing_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add_link(archive, "link", "nothing", tarfile.SYMTYPE)
    with pytest.raises(InputError, match="not in the archive"):
        list(read_files(tmp_path / "x.tar"))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add_link(archive, "device", "", kind)
    with pytest.raises(InputError, match="device"):
        unpack(tmp_path / "x.tar", tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_a_member_that_claims_more_than_fits_is_refused_unread(tmp_path):
    """A sparse member: a few bytes that claim to be terabytes."""
    claim = tarfile.TarInfo("an4/wav/big.raw")
    claim.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1"}
    claim.pax_headers |= {"GNU.sparse.size": str(1 << 44), "GNU.sparse.name": "an4/wav/big.raw"}
    claim.size = 1
    with tarfile.open(tmp_path / "bomb.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(claim, io.BytesIO(b"x"))
    with pytest.raises(InputError, match=r"bomb\.tar: member an4/wav/big\.raw claims 17,592,186,044,416 bytes"):
        list(read_files(tmp_path / "bomb.tar"))


def test_permissions_of_the_archive_are_not_taken_over(tmp_path):
    member = tarfile.TarInfo("tool")
    member.mode = 0o4777
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(member)
    unpack(tmp_path / "x.tar", tmp_path / "out")
    assert not (tmp_path / "out" / "tool").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip"])
def test_no_truncation_goes_unnoticed(tmp_path, name):
    whole = pack(FILES, tmp_path / name).read_bytes()
    # a tar is padded with zeros after its end mark; those may be cut without loss
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512 if name == "x.tar" else len(whole)
    for cut in (0, 1, 511, 512, 513, 1024, end - 9, end - 1, *range(0, end, max(end // 20, 1))):
        (tmp_path / name).write_bytes(whole[: min(cut, end - 1)])
        with pytest.raises(InputError, match="Fetch it again"):
            list(read_files(tmp_path / name))


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip"])
def test_damage_in_the_middle_is_noticed(tmp_path, name):
    content = bytearray(pack({"noise": os.urandom(5000)}, tmp_path / name).read_bytes())
    content[2500] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        list(read_files(tmp_path / name))


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    content = bytearray(pack(FILES, tmp_path / "x.tar").read_bytes())
    second = content.index(b"a/b/two.raw")
    content[second + 148] ^= 0x01  # the header's checksum
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        list(read_files(tmp_path / "x.tar"))


def test_a_member_that_comes_twice_is_one_file(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for content in (b"old", b"new!"):
            member = tarfile.TarInfo("a")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    [only] = unpack(tmp_path / "x.tar", tmp_path / "out")
    assert only.read_bytes() == b"new!"


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = pack(FILES, tmp_path / "inner.zip").read_bytes()
    assert [str(path) for path, _ in read_files(pack({"inner.zip": inner}, tmp_path / "x.tar"))] == ["inner.zip"]


def test_members_that_cannot_be_written_are_named(tmp_path):
    """A file where another member wants a folder."""
    with pytest.raises(InputError, match="a/b: cannot be written"):
        unpack(pack({"a": b"1", "a/b": b"2"}, tmp_path / "x.tar"), tmp_path / "out")


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello " * 1000)
    with pytest.raises(InputError, match=r"notes\.txt: not an archive"):
        list(read_files(tmp_path / "notes.txt"))
    with pytest.raises(InputError, match=r"nowhere\.tar: no such"):
        list(read_files(tmp_path / "nowhere.tar"))


def test_a_folder_with_a_link_to_itself_is_read_once(tmp_path):
    pack(FILES, tmp_path / "folder")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "four").write_bytes(b"4")
    (tmp_path / "folder" / "a" / "circle").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "more").symlink_to(tmp_path / "elsewhere")
    assert sorted(str(path) for path, _ in read_files(tmp_path / "folder")) == sorted([*FILES, "more/four"])


class Site(BaseHTTPRequestHandler):
    """/whole serves everything, /cut ends early, /chunks too, /garbage is no HTTP, anything else is absent."""

    # Seeded: its checksum is part of a test's name, and parallel workers must collect the same names.
    body = random.Random(0).randbytes(300_000)

    def do_GET(self):
        if self.path == "/garbage.tar":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            return
        if self.path == "/chunks.tar":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"10000\r\n" + self.body[:1000])
            return
        if self.path not in ("/whole.tar", "/cut.tar"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body if self.path == "/whole.tar" else self.body[:100_000])

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


CHECKSUM = hashlib.sha256(Site.body).hexdigest()


def test_a_download_arrives_whole_and_is_not_repeated(tmp_path, site, caplog):
    target = tmp_path / "new" / "x.tar"
    assert download(f"{site}/whole.tar", target, sha256=CHECKSUM) == target
    assert target.read_bytes() == Site.body
    with caplog.at_level(logging.INFO):
        download("http://127.0.0.1:9/", target, sha256=CHECKSUM)
    assert "here already" in caplog.text


def test_a_damaged_earlier_download_is_replaced(tmp_path, site):
    (tmp_path / "x.tar").write_bytes(b"damaged")
    assert download(f"{site}/whole.tar", tmp_path / "x.tar", sha256=CHECKSUM).read_bytes() == Site.body


@pytest.mark.parametrize(
    ("address", "checksum", "complaint"),
    [
        ("/whole.tar", "0" * 64, f"SHA-256 {CHECKSUM}, expected 0000"),
        ("/cut.tar", None, "100000 of 300000 bytes|cannot download"),
        ("/chunks.tar", None, r"/chunks\.tar: cannot download \(IncompleteRead.*--archive"),
        ("/garbage.tar", None, r"/garbage\.tar: cannot download \(SSH-2\S*\)\. Fetch.*--archive"),
        ("/absent.tar", None, "404"),
    ],
)
def test_a_failed_download_leaves_nothing(tmp_path, site, address, checksum, complaint):
    with pytest.raises(InputError, match=complaint):
        download(site + address, tmp_path / "x.tar", sha256=checksum)
    assert not list(tmp_path.iterdir())


def test_a_download_that_finds_no_room_names_the_file_not_the_address(tmp_path, site):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/x\.tar: its folder cannot be made"):
        download(f"{site}/whole.tar", tmp_path / "file" / "x.tar")
    if not Path("/dev/full").exists():
        pytest.skip("no full disk at hand")
    with pytest.raises(InputError, match=r"^/dev/full: cannot be written \(no space left on the disk\)"):
        _fetch(f"{site}/whole.tar", Path("/dev/full"))


def test_a_download_without_connection_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"127\.0\.0\.1.*--archive"):
        download("http://127.0.0.1:9/x.tar", tmp_path / "x.tar")
