"""What pydicom and fastavro say of the same objects.

    judge.py FILES RECORDS SCHEMA

FILES is a folder of DICOM files; one line of JSON each: where pydicom finds the value of the top-level pixel element and
its SHA-256, or the error. RECORDS is a folder of encoded metadata (NAME.avro, single-object encoding) with the chunks
beside it (NAME.blob); fastavro reads each with SCHEMA, and the file that comes of it is hashed.
"""

import hashlib
import json
import logging
import pathlib
import sys
import warnings

import fastavro
import pydicom

PIXELS = [0x7FE00010, 0x7FE00008, 0x7FE00009]


def pixels(path):
    data_set = pydicom.dcmread(path, force=True)
    found = {"syntax": str(data_set.file_meta.get("TransferSyntaxUID", ""))}
    for tag in PIXELS:
        if tag in data_set:
            raw = data_set.get_item(tag)
            found["at"] = raw.value_tell
            found["sha256"] = hashlib.sha256(raw.value or b"").hexdigest()
            break
    return found


def record(path, schema, fingerprint):
    data = path.read_bytes()
    assert data[:10] == b"\xc3\x01" + bytes.fromhex(fingerprint), "frame and fingerprint"
    with path.open("rb") as file:
        file.seek(10)
        metadata = fastavro.schemaless_reader(file, schema)
        assert not file.read(), "bytes behind the record"
    blob = path.with_suffix(".blob").read_bytes()
    assert sum(chunk["length"] for chunk in metadata["chunks"]) == len(blob)
    whole = metadata["header"] + blob + metadata["tail"]
    assert len(whole) == metadata["file_length"]
    found = metadata["pixels"]
    value = blob[: found["length"]] if found else b""
    return {
        "sha256": hashlib.sha256(whole).hexdigest(),
        "stated": metadata["file_sha256"].hex(),
        "pixels": hashlib.sha256(value).hexdigest() == found["sha256"].hex() if found else None,
        "attributes": len(metadata["attributes"]),
    }


def main():
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    files, records, schema_file = map(pathlib.Path, sys.argv[1:])
    for path in sorted(files.rglob("*")):
        if path.is_file():
            try:
                found = pixels(path)
            except Exception as error:  # whatever pydicom does not read
                found = {"error": type(error).__name__}
            print(json.dumps({"file": path.relative_to(files).as_posix(), **found}))
    raw = json.loads(schema_file.read_text())
    schema = fastavro.parse_schema(raw)
    canonical = fastavro.schema.to_parsing_canonical_form(raw)
    fingerprint = fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")
    print(json.dumps({"fingerprint": fingerprint}))
    for path in sorted(records.glob("*.avro")):
        print(json.dumps({"record": path.stem, **record(path, schema, fingerprint)}))


main()
