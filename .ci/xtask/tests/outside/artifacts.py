"""What a user of the `oras` package does: pushes files, attaches one to them, and gets all of it back.

Arguments: the registry's host, the password of `admin`, the folder to pull into. In the current folder stand
`note.txt`, `folder/` and `sbom.json`. Prints one line of JSON.
"""

import json
import sys

from oras.client import OrasClient
from oras.oci import Subject

host, password, out = sys.argv[1:]
name = f"{host}/admin/files"

# With tokens the package asks for one, for its first request, and uses it for all others.
writer = OrasClient(hostname=host, insecure=True, auth_backend="basic")
writer.login(username="admin", password=password, hostname=host)
pushed = writer.push(
    target=f"{name}:1",
    files=["note.txt:text/plain", "folder"],
    manifest_annotations={"made.by": "a test"},
)
subject = Subject.from_manifest(writer.get_manifest(f"{name}:1"))
attached = writer.push(target=f"{name}:sbom", files=["sbom.json:application/json"], subject=subject)
writer.push(target=f"{name}:pieces", files=["note.txt:text/plain"], do_chunked=True, chunk_size=3)
referrers = writer.do_request(f"http://{host}/v2/admin/files/referrers/{subject.digest}")

reader = OrasClient(hostname=host, insecure=True, auth_backend="token")
reader.login(username="admin", password=password, hostname=host)
reader.pull(target=f"{name}:1", outdir=out)
reader.pull(target=f"{name}:pieces", outdir=f"{out}/pieces")

print(
    json.dumps(
        {
            "digest": pushed.headers["Docker-Content-Digest"],
            "subject": subject.digest,
            "told_subject": attached.headers.get("OCI-Subject"),
            "attached": attached.headers["Docker-Content-Digest"],
            "referrers": referrers.json(),
            "annotations": reader.get_manifest(f"{name}:1")["annotations"],
            "tags": reader.get_tags(name),
            "deleted": writer.delete_tags(name, ["pieces"]),
            "tags_left": writer.get_tags(name),
        }
    )
)
