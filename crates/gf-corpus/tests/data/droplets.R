# Writes droplets.tsv beside it: droplets of few genes, and what emptyDrops of
# DropletUtils says of them. Run with R 4.2, DropletUtils 1.18.1, edgeR 3.40.
suppressMessages({ library(DropletUtils); library(Matrix) })
set.seed(20261125)
n_genes <- 200
ambient <- 1 / (1:n_genes)^1.5 # so that some genes are in no ambient droplet
cells <- rev(ambient)
mixed <- function(share) share * cells / sum(cells) + (1 - share) * ambient / sum(ambient)
droplet <- function(total, share) rmultinom(1, total, mixed(share))
counts <- cbind(
  sapply(sample(60:100, 40, TRUE), droplet, 0),
  sapply(sample(101:400, 20, TRUE), droplet, 0),
  sapply(sample(101:400, 10, TRUE), droplet, 0.06),
  sapply(sample(101:400, 5, TRUE), droplet, 0.3)
)
colnames(counts) <- seq_len(ncol(counts)) - 1
set.seed(1)
test <- testEmptyDrops(as(counts, "CsparseMatrix"), lower = 100, niters = 1e5, alpha = Inf)
row <- function(j) {
  at <- which(counts[, j] > 0)
  cells <- c(sprintf("%.15g", c(test$Total[j], test$LogProb[j], test$PValue[j])), paste0(at - 1, ":", counts[at, j], collapse = " "))
  paste(cells, collapse = "\t")
}
writeLines(c("total\tlog_probability\tp_value\tgenes", sapply(seq_len(ncol(counts)), row)), "droplets.tsv")
