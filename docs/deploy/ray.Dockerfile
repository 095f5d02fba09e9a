# The image of the Ray cluster's head and workers: Ray's own with this package.
#
#     docker build -f docs/deploy/ray.Dockerfile -t wva-ray:2.60.0 .
FROM rayproject/ray:2.60.0-py312-gpu
COPY --chown=ray . /tmp/wva
RUN pip install --no-cache-dir -c /tmp/wva/constraints.txt "/tmp/wva[milvus,ray]"
