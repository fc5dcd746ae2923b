#!/usr/bin/env bash
# `make image`: wheels into dist/wheels, then the image with docker or buildah, whichever is there.
#
#   BASE            base image with python3 and venv               (python:3.12-slim)
#   PYTHON_VERSION  the base image's Python, for which wheels come (3.12)
#   WITH            further packages in the image, such as the fsspec driver of a change store: WITH="adlfs"
#   NAME            name of the image                              (tap-d365fo/source-d365fo)
set -euo pipefail
cd "$(dirname "$0")/.."

BASE=${BASE:-python:3.12-slim}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
WITH=${WITH:-}
NAME=${NAME:-tap-d365fo/source-d365fo}
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' tap_d365fo/__init__.py)
MACHINE=$(uname -m)
WHEELS=dist/wheels

builder() {
  if docker info >/dev/null 2>&1; then
    echo docker
  elif command -v buildah >/dev/null; then
    echo buildah
  fi
}

gather_wheels() {
  local pip=.envs/image/bin/pip
  [ -x "$pip" ] || python3 -m venv .envs/image
  rm -rf "$WHEELS"
  "$pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$WHEELS" .
  # shellcheck disable=SC2086  # WITH is a list
  "$pip" download --quiet --disable-pip-version-check --only-binary :all: --dest "$WHEELS" \
    --python-version "$PYTHON_VERSION" --implementation cp \
    --platform "manylinux2014_$MACHINE" --platform "manylinux_2_28_$MACHINE" \
    "$WHEELS"/tap_d365fo-*.whl $WITH
  echo "$(find "$WHEELS" -name '*.whl' | wc -l) wheels are in $WHEELS ($(du -sh "$WHEELS" | cut -f1))."
}

build() {
  local given=(--build-arg "BASE=$BASE" --build-arg "WITH=$WITH" --build-arg "VERSION=$VERSION")
  local tags=(--tag "$NAME:$VERSION" --tag "$NAME:dev")
  case $1 in
    docker) docker build --quiet "${given[@]}" "${tags[@]}" . ;;
    buildah) buildah build --quiet --isolation chroot "${given[@]}" "${tags[@]}" . ;;
  esac
}

# Every program starts as the image's user, without a network.
try() {
  local program
  for program in "source-d365fo spec" "tap-d365fo --version" "d365fo --help"; do
    # shellcheck disable=SC2086  # a program and its argument
    run "$1" $program >/dev/null
    echo "In the image: $program"
  done
}

run() {
  local with=$1 program=$2
  shift 2
  case $with in
    docker) docker run --rm --network none --entrypoint "/app/bin/$program" "$NAME:$VERSION" "$@" ;;
    buildah)
      local container
      container=$(buildah from --pull-never "$NAME:$VERSION")
      buildah run --isolation chroot "$container" -- "/app/bin/$program" "$@"
      buildah rm "$container" >/dev/null
      ;;
  esac
}

WITH_WHAT=$(builder)
gather_wheels
if [ -z "$WITH_WHAT" ]; then
  echo "No image was built: there is neither a docker whose daemon answers nor buildah on this machine."
  echo "Where there is one: make image, or docker build --build-arg VERSION=$VERSION --tag $NAME:$VERSION ."
  exit 0
fi
echo "Building $NAME:$VERSION from $BASE with $WITH_WHAT."
build "$WITH_WHAT"
try "$WITH_WHAT"
