"""Archives and folders for tests, from names and contents."""

import io
import tarfile
import zipfile
from pathlib import Path


def pack(files: dict[str, bytes], target: Path) -> Path:
    """An archive or, without a suffix, a folder."""
    if not target.suffix:
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    elif target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        mode = "w" if target.suffix == ".tar" else f"w:{target.suffix[1:]}"
        with tarfile.open(target, mode) as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return target
