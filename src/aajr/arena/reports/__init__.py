"""Reports of examinations: findings, tables, plots, a page and a film."""
