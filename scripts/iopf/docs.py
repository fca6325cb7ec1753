# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Checks of what people read: the pages of both series, our own pages, pictures.

Pages of a series are built by sphinx with the settings and the extensions of
the tree they belong to. Building all of a tree's pages takes minutes, so the
others are there only as names: links to them and lists of contents resolve.
"""

import os
import pathlib
import re
import shutil
import xml.etree.ElementTree as ElementTree

from iopf.errors import Failure
from iopf.host import REPO
from iopf.process import git_files, logged

# of the distribution; another Python's would not have the distribution's modules
SPHINX = "/usr/bin/sphinx-build"

FOLDER = {"linux": "Documentation", "qemu": "docs"}

# A remark about the machine and not about a page: what the lack of Graphviz
# does is draw a picture in a simpler way, and no page of ours has one.
MACHINE = re.compile(r"WARNING: dot\(1\) not found")


# ---- pages of the two series -------------------------------------------------

def pages_to_build(tree, folder, touched):
    """Pages that the series adds or changes, or that show comments it changes."""
    for page in sorted((tree / folder).rglob("*.rst")):
        shown = re.findall(r"^\.\. kernel-doc:: *(\S+)", page.read_text(errors="replace"), re.M)
        if str(page.relative_to(tree)) in touched or set(shown) & set(touched):
            yield str(page.relative_to(tree / folder))


def to_stage(top, pages):
    """What stands beside the pages, or is named in a list of contents there."""
    folders = {str(pathlib.Path(page).parent) for page in pages} | {
        page.split("/")[0] for page in pages}
    found = set()
    for folder in folders:
        found |= {str(file.relative_to(top)) for file in (top / folder).glob("*.rst")}
        for index in (top / folder).glob("index*.rst"):
            listed = re.findall(r"^ +([\w/.-]+?)(?:\.rst)?$",
                                index.read_text(errors="replace"), re.M)
            found |= {f"{folder}/{name}.rst" for name in listed}
    return sorted(name for name in found if (top / name).is_file())


def stage(top, pages, dest):
    """A folder of links to the pages and to lists of contents, and of stubs in
    the place of other pages."""
    for name in to_stage(top, pages):
        copy = dest / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if name in pages or copy.name.startswith("index"):
            copy.symlink_to(top / name)
        else:
            copy.write_text(f":orphan:\n\n{copy.stem}\n{'=' * len(copy.stem)}\n")
    contents = "".join(f"   {part}/index\n" for part in sorted({p.split("/")[0] for p in pages}))
    (dest / "index.rst").write_text(f"Pages\n=====\n\n.. toctree::\n\n{contents}")


def ours(remarks, tree, folder, staged, touched):
    """The remarks that name a file of the series: `PAGE.rst:3: WARNING: ...`, and for
    comments that a page shows `PAGE:3: ../FILE.c:7: WARNING: ...`."""
    for line in remarks:
        line = line.replace(f"{staged}/", f"{folder}/").replace(f"{tree}/", "")
        places = re.findall(r"(\S+?)(?::\d+)?: ", line.partition("WARNING: ")[0]
                            .partition("ERROR: ")[0])
        names = [re.sub(r"^(\.\./)+", "", os.path.normpath(place)) for place in places]
        if not MACHINE.search(line) and set(touched) & {*names, *[f"{n}.rst" for n in names]}:
            yield line


def check_pages(tree, name, touched, work, log):
    """Build with sphinx; any remark about a file of the series is an error."""
    folder = FOLDER[name]
    pages = list(pages_to_build(tree, folder, touched))
    if not pages:
        raise Failure(f"the {name} series has no page in {folder}/", 1)
    # what sphinx remembers of other contents would add remarks and hide some
    shutil.rmtree(work, ignore_errors=True)
    stage(tree / folder, pages, work / "pages")
    said = work / "remarks"
    # the kernel's conf.py and kernel-doc want to run in the folder of conf.py
    logged([SPHINX, "-q", "-w", said, "-c", ".", "-b", "html",
            "-d", work / "doctrees", work / "pages", work / "html"], log, cwd=tree / folder,
           env={**os.environ, "srctree": "..", "PYTHONDONTWRITEBYTECODE": "1"},
           what=f"sphinx for the pages of the {name} series")
    for page in pages:
        if not (work / "html" / page).with_suffix(".html").is_file():
            raise Failure(f"sphinx has not made a page of {folder}/{page}; read {log}", 1)
    found = list(ours(said.read_text().splitlines(), tree, folder, work / "pages", touched))
    if found:
        raise Failure(f"sphinx, {name} series: {found[0]}", 1)


# ---- our own pages -----------------------------------------------------------

def anchors(text):
    """The names by which a page's headings are linked to."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for title in re.findall(r"^#+ +(.*?) *$", text, re.M):
        yield re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def broken_links(page, text, root):
    """Links of a Markdown page to files and headings that are not there."""
    plain = re.sub(r"^```.*?^```|^ {4}.*?$|`[^`\n]*`", "", text, flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)", plain)
    links += re.findall(r"\b(?:src|srcset|href)=\"([^\"]+)\"", plain)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (root / page).parent / path if path else root / page
        if not target.exists():
            yield f"{page}: no file {link}"
        elif anchor and anchor not in set(anchors(target.read_text())):
            yield f"{page}: no heading {link}"


NAMED = re.compile(r"`((?:Documentation|arch|drivers|include|samples|scripts|series|tools|"
                   r"MAINTAINERS|Kconfig|Makefile|[A-Z]+\.md)(?:/[^`\s]*)?)`")


def missing_files(page, text, root):
    """Paths of this repository in `code` that are not there."""
    for path in NAMED.findall(text):
        plain = path.split(":")[0]
        if re.search(r"\b(NN|NAME|VERSION|TOPIC)\b", plain):
            continue
        if not (list(root.glob(plain.rstrip("/"))) or (root / plain).exists()):
            yield f"{page}: there is no {path}"


def check_links(log):
    """Files, folders and headings that our pages name are there."""
    found = []
    for page in git_files(REPO, "*.md"):
        text = (REPO / page).read_text()
        found += broken_links(page, text, REPO)
        found += missing_files(page, text, REPO)
    log.write_text("\n".join(found) + "\n")
    if found:
        raise Failure(found[0], 1)


# ---- pictures ----------------------------------------------------------------

def functions_shown(picture):
    """(function, file) of the texts of a picture that have data-file."""
    for element in ElementTree.parse(picture).iter():
        if element.get("data-file"):
            name = "".join(element.itertext()).strip()
            yield re.sub(r"\(.*", "", name), element.get("data-file")


def accessible(picture):
    """A picture has a title, a description, and says what it is."""
    root = ElementTree.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    return all((root.findtext(space + tag) or "").strip() for tag in ("title", "desc")) and (
        root.get("role") == "img")


def check_pictures(trees, log):
    """Each function in a picture is in the file that the picture's source names."""
    found, count = [], 0
    for picture in git_files(REPO, "*.svg"):
        if not accessible(REPO / picture):
            found.append(f"{picture}: wants role=\"img\", a title and a desc")
        for name, file in functions_shown(REPO / picture):
            count += 1
            place = [p for p in (*[t / file for t in trees], REPO / file) if p.is_file()]
            if not place or not re.search(rf"\b{re.escape(name)}\b", place[0].read_text()):
                found.append(f"{picture}: no {name} in {file}")
    log.write_text("\n".join(found) + f"\n{count} names\n")
    if found:
        raise Failure(found[0], 1)
