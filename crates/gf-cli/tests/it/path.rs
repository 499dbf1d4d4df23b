//! The whole path on the shipped cells.

use std::{fs, path::Path};

use crate::run::{CONFIG, json, ok, run, tokenized};

#[test]
fn counts_become_ranked_genes_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ingested = json(folder, "ingest CELLS -o corpus");
    assert_eq!(ingested["cells"], 559);
    let exported = json(folder, "export corpus -o cells.h5ad");
    assert_eq!(exported["report"]["cells"], 559);
    // What was exported is a source again, of the same counts.
    let again = json(folder, "ingest cells.h5ad -o again");
    assert_eq!(again["cells"], 559);
    assert_eq!(again["totals"]["counts_kept"], exported["report"]["counts"]);
    assert_eq!(
        json(folder, "export corpus --only-normal --overwrite -o cells.h5ad")["report"]["cells"],
        559
    );

    ok(folder, "medians corpus -o medians.tsv");
    let tokenized =
        json(folder, "tokenize corpus --medians medians.tsv --max-len 64 -o cells.dataset");
    assert_eq!(tokenized["report"]["written"], 559);
    // Most cells have more than 62 genes; the share of the whole ones is told.
    let truncated = tokenized["report"]["truncated"].as_u64().unwrap();
    let whole = format!("{:.2} %", 100.0 * (559 - truncated) as f64 / 559.0);
    let again = "tokenize corpus --medians medians.tsv --max-len 64 -o cells.dataset";
    let printed = ok(folder, again);
    assert!(truncated > 0 && printed.contains("cells written whole"), "{printed}");
    assert!(printed.contains(&whole), "{printed} lacks {whole}");

    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 3\n")).unwrap();
    let trained = json(folder, "pretrain --config c.toml --data cells.dataset -o pretrain");
    assert_eq!((&trained["steps"], &trained["interrupted"]), (&3.into(), &false.into()));

    let model = "--model pretrain/model --data cells.dataset";
    let embedded = json(folder, &format!("embed {model} -o embeddings.csv"));
    assert_eq!((&embedded["cells"], &embedded["dimensions"]), (&559.into(), &16.into()));
    let embeddings = fs::read_to_string(folder.join("embeddings.csv")).unwrap();
    assert_eq!(embeddings.lines().count(), 1 + 559);

    let perturbed = json(folder, &format!("perturb {model} --max-cells 4 -o perturb"));
    assert_eq!((&perturbed["cells"], &perturbed["agreement"]), (&4.into(), &().into()));
    let alone = json(folder, &format!("perturb {model} --max-cells 4 --no-sharing -o alone"));
    assert_eq!(alone["perturbations"], perturbed["perturbations"]);
    let plan = json(folder, &format!("perturb {model} --max-cells 4 --plan --price 3600"));
    assert_eq!((&plan["cells"], &plan["variants"]), (&4.into(), &perturbed["perturbations"]));
    let number = |key: &str| plan[key].as_f64().unwrap();
    let hours = number("operations") / number("operations_per_second") / 3600.0;
    assert!((number("cost") / (hours * 3600.0) - 1.0).abs() < 1e-9, "{plan}");
    let small = json(folder, &format!("perturb {model} --max-cells 4 --plan --batch-tokens 100"));
    assert!(small["activation_bytes"].as_u64() < plan["activation_bytes"].as_u64(), "{small}");
    let stats = "stats perturb/shifts.arrow --vocab cells.dataset/vocabulary.tsv";
    ok(folder, &format!("{stats} --mode aggregate-data -o cosines.csv"));
    let cosines = fs::read_to_string(folder.join("cosines.csv")).unwrap();
    let n_perturbations = perturbed["perturbations"].as_u64().unwrap();
    assert_eq!(cosines.lines().count() as u64, 1 + n_perturbations);
    for i in 1..=2 {
        let small = "--batch-tokens 100";
        ok(folder, &format!("perturb {model} --max-cells 4 --shard {i}/2 {small} -o part{i}"));
    }
    ok(folder, "merge part2/shifts.arrow part1/shifts.arrow -o merged.arrow");
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(bytes("merged.arrow") == bytes("perturb/shifts.arrow"), "shards differ from the whole");
    assert!(bytes("alone/shifts.arrow") != bytes("perturb/shifts.arrow"), "nothing was shared");

    pairs_are_compared(folder, model);
    groups_are_compared(folder, model);

    ok(folder, "report . -o report.html");
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(
        page.contains("<svg")
            && page.contains("<section id=\"spread\">")
            && page.trim_end().ends_with("</html>"),
        "{} bytes",
        page.len()
    );
}

/// The gene of most cells with every other, against each by itself.
fn pairs_are_compared(folder: &std::path::Path, model: &str) {
    let mut ranking = csv::Reader::from_path(folder.join("perturb/ranking.csv")).unwrap();
    let rows = ranking.records().map(Result::unwrap);
    let anchor = rows.max_by_key(|row| row[6].parse::<usize>().unwrap()).unwrap()[3].to_owned();
    let pairs = json(folder, &format!("perturb {model} --max-cells 4 --anchor {anchor} -o pairs"));
    let line = "stats pairs/shifts.arrow --vocab cells.dataset/vocabulary.tsv -o pairs.csv";
    let singles = "--singles perturb/shifts.arrow";
    let compared = json(folder, &format!("{line} --mode mixture-model {singles}"));
    assert_eq!(compared["left_out"], 0);
    let mut table = csv::Reader::from_path(folder.join("pairs.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(compared["pairs"].as_u64().unwrap(), rows.len() as u64);
    let detections: u64 = rows.iter().map(|row| row[11].parse::<u64>().unwrap()).sum();
    assert_eq!(pairs["perturbations"], detections);
    for row in &rows {
        let [anchor, gene, sum, both, excess] =
            [4, 5, 6, 7, 8].map(|column| row[column].parse::<f64>().unwrap());
        assert_eq!((sum, excess), (1.0 - ((1.0 - anchor) + (1.0 - gene)), both - sum));
    }
    for (options, code, message) in [
        (format!("{line} --mode aggregate-data {singles}"), 2, "mixture-model"),
        (format!("{line} --mode mixture-model --singles part1/shifts.arrow"), 1, "other cells"),
    ] {
        let output = run(folder, &options);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && error.contains(message), "{error}");
    }
}

/// Two groups of genes that remain without ACTB, one name of no gene among them.
fn groups_are_compared(folder: &std::path::Path, model: &str) {
    ok(folder, &format!("perturb {model} --genes ACTB --read-genes -o actb"));
    let vocabulary = "--vocab cells.dataset/vocabulary.tsv";
    let aggregate = format!("stats actb/shifts.arrow {vocabulary} --mode aggregate-gene-shifts");
    ok(folder, &format!("{aggregate} -o remaining.csv"));
    let mut remaining = csv::Reader::from_path(folder.join("remaining.csv")).unwrap();
    // The first line is of the cell.
    let ids: Vec<String> =
        remaining.records().skip(1).take(5).map(|row| row.unwrap()[6].to_owned()).collect();
    let mut genes = "gene\tgroup\nNOSUCHGENE\tfirst\n".to_owned();
    for (i, id) in ids.iter().enumerate() {
        genes += &format!("{id}\t{}\n", if i < 2 { "first" } else { "second" });
    }
    fs::write(folder.join("groups.tsv"), genes).unwrap();
    let line = "stats actb/shifts.arrow --vocab cells.dataset/vocabulary.tsv \
        --mode compare-groups --groups groups.tsv --tests tests.csv --figure boxes.svg -o g.csv";
    let compared = json(folder, line);
    let compared = &compared["comparison"];
    assert_eq!(compared["unknown_genes"], serde_json::json!(["NOSUCHGENE"]));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let count = |i: usize| compared["groups"][i]["genes"].as_u64().unwrap();
    assert_eq!([count(0), count(1)], [2, 3]);
    assert_eq!(read("g.csv").lines().count(), 1 + 5);
    let tests = read("tests.csv");
    let pair = tests.lines().nth(1).unwrap();
    assert!(pair.starts_with("first,second,2,3,") && tests.lines().count() == 2, "{tests}");
    assert!(read("boxes.svg").contains("second (3)"));

    for (genes, message) in [
        ("gene\tgroup\nRPL3\tone\nGAPDH\tone\n", "found 1 groups"),
        ("gene\tgroup\nRPL3\tone\nRPL3\ttwo\n", "RPL3: found in one and two"),
        ("gene\nRPL3\n", "group"),
    ] {
        fs::write(folder.join("groups.tsv"), genes).unwrap();
        let output = run(folder, line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && error.contains(message), "{error}");
        assert!(error.contains("groups.tsv"), "{error}");
    }
}

/// The same deletions on int8 weights agree with f32, embeddings in half precision too.
#[test]
fn other_precisions_agree_with_f32() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 1\n")).unwrap();
    ok(folder, "pretrain --config c.toml --data cells.dataset -o pretrain");
    let line = "--model pretrain/model --data cells.dataset --precision int8";
    let perturbed = json(folder, &format!("perturb {line} --genes ACTB,ENSG00000156508 -o p"));
    let cosine = perturbed["agreement"]["mean_cosine"].as_f64().unwrap();
    assert!((0.999..1.0).contains(&cosine), "{cosine}");
    let printed = ok(folder, &format!("perturb {line} --genes ACTB -o p"));
    assert!(
        printed.contains("ACTB") && printed.contains("int8 against f32 over 559 embeddings"),
        "{printed}"
    );
    for half in ["f16", "bf16"] {
        let line = "--model pretrain/model --data cells.dataset --precision";
        let embedded = json(folder, &format!("embed {line} {half} -o {half}.csv"));
        let cosine = embedded["agreement"]["mean_cosine"].as_f64().unwrap();
        assert!((0.999..1.0).contains(&cosine), "{half}: {cosine}");
    }
}

/// The same input and seed give the same bytes, whatever the number of threads.
#[test]
fn threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 2\n")).unwrap();
    for n in [1, 2] {
        let everywhere = format!("--threads {n} --quiet");
        for line in [
            format!("ingest CELLS -o corpus{n}"),
            format!("export corpus{n} -o cells{n}.h5ad"),
            format!("medians corpus{n} -o medians{n}.tsv"),
            format!("tokenize corpus{n} --medians medians{n}.tsv --max-len 64 -o {n}.dataset"),
            format!("pretrain --config c.toml --data {n}.dataset -o pretrain{n}"),
            format!("embed --model pretrain{n}/model --data {n}.dataset -o embeddings{n}.csv"),
            format!(
                "perturb --model pretrain{n}/model --data {n}.dataset --max-cells 2 -o perturb{n}"
            ),
        ] {
            ok(folder, &format!("{line} {everywhere}"));
        }
    }
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    for (one, two) in [
        // It names every other file of the corpus by its hash.
        ("corpus1/manifest.json", "corpus2/manifest.json"),
        ("cells1.h5ad", "cells2.h5ad"),
        ("medians1.tsv", "medians2.tsv"),
        ("1.dataset/data-00000-of-00001.arrow", "2.dataset/data-00000-of-00001.arrow"),
        ("pretrain1/model/model.safetensors", "pretrain2/model/model.safetensors"),
        ("embeddings1.csv", "embeddings2.csv"),
        ("perturb1/ranking.csv", "perturb2/ranking.csv"),
    ] {
        assert!(bytes(one) == bytes(two), "{one} differs from {two}");
    }
}

/// A quantised folder is a model like any other, and says what it costs.
#[test]
fn quantised_folders() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tokenized(folder);
    fs::write(folder.join("c.toml"), format!("{CONFIG}\nmax_steps = 1\n")).unwrap();
    ok(folder, "pretrain --config c.toml --data cells.dataset -o pretrain");
    for format in ["nf4", "int8"] {
        let line = format!("quantize --model pretrain/model --to {format} -o {format}");
        let fidelity = json(folder, &format!("{line} --data cells.dataset --max-cells 2"));
        let fidelity = &fidelity["fidelity"];
        assert_eq!(fidelity["embeddings"]["precision"], format);
        let stored = fidelity["embeddings"]["mean_cosine"].as_f64().unwrap();
        assert!((0.9..1.0).contains(&stored), "{format}: {stored}");
        assert!(fidelity["top_genes_shared"].as_u64() <= fidelity["top_genes"].as_u64());

        let model = format!("--model {format} --data cells.dataset");
        let own = json(folder, &format!("embed {model} -o own.csv"));
        assert_eq!((&own["cells"], &own["agreement"]), (&559.into(), &().into()));
        let dense = "--model pretrain/model --data cells.dataset";
        json(folder, &format!("embed {dense} --precision {format} -o converted.csv"));
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("own.csv"), read("converted.csv"), "{format}");
        let shifts = json(folder, &format!("perturb {model} --max-cells 1 -o p-{format}"));
        assert_eq!(shifts["cells"], 1);
    }
    llm_int8(folder);
    let printed = ok(folder, "quantize --model pretrain/model --to nf4 -o nf4");
    assert!(printed.contains("nf4+double"), "{printed}");
    for (line, code) in [
        ("quantize --model nf4 --to int8 -o again", 1),
        ("embed --model nf4 --data cells.dataset --precision int8 -o x.csv", 2),
        ("embed --model nf4 --data cells.dataset --precision llm-int8 -o x.csv", 2),
        ("embed --model int8 --data cells.dataset --precision nf4 -o x.csv", 2),
    ] {
        let output = run(folder, line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "gf {line}: {error}");
        assert!(error.contains("expected"), "gf {line}: {error}");
    }
    assert!(!folder.join("again/model.safetensors").exists());
}

/// LLM.int8 is another arithmetic over the weights of int8.
fn llm_int8(folder: &Path) {
    let line = |model: &str| format!("--model {model} --data cells.dataset --precision llm-int8");
    let own = json(folder, &format!("embed {} -o own.csv", line("int8")));
    assert!(own["agreement"].is_null(), "{own}");
    let converted = json(folder, &format!("embed {} -o converted.csv", line("pretrain/model")));
    assert_eq!(converted["agreement"]["precision"], "llm-int8");
    let cosine = converted["agreement"]["mean_cosine"].as_f64().unwrap();
    assert!((0.999..1.0).contains(&cosine), "{cosine}");
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("own.csv"), read("converted.csv"));
    let plan = json(folder, &format!("perturb {} --plan --max-cells 1", line("int8")));
    let dense = "--model pretrain/model --data cells.dataset";
    let full = json(folder, &format!("perturb {dense} --plan --max-cells 1"));
    assert!(plan["weight_bytes"].as_u64() < full["weight_bytes"].as_u64(), "{plan}");
    let shifts = json(folder, &format!("perturb {} --max-cells 1 -o p-llm", line("int8")));
    assert_eq!(shifts["cells"], 1);
}
