# The connector's image: Airbyte starts `source-d365fo` in it; `tap-d365fo` and `d365fo` are there too.
# Built by scripts/image.sh, which puts all wheels into dist/wheels first: the build needs no network.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ARG WITH=""
COPY dist/wheels /wheels
RUN python3 -m venv /app \
 && /app/bin/pip install --no-cache-dir --no-index --find-links /wheels tap-d365fo ${WITH} \
 && /app/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
ARG VERSION=dev
RUN useradd --uid 1000 --create-home airbyte \
 && mkdir -p /airbyte/integration_code \
 && chown -R airbyte:airbyte /airbyte
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AIRBYTE_ENTRYPOINT=/app/bin/source-d365fo
LABEL io.airbyte.name="tap-d365fo/source-d365fo" \
      io.airbyte.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Airbyte source and Singer tap for Dynamics 365 Finance & Operations"
WORKDIR /airbyte/integration_code
USER airbyte
ENTRYPOINT ["/app/bin/source-d365fo"]
