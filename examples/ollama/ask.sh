#!/usr/bin/env bash
# Ask a question to a model of a running Ollama server, which shares the devices with other models.
#
#     ask.sh MODEL QUESTION
set -euo pipefail
model=$1
question=$2

sire register "ollama-$model" --runtime ollama --arg "model=$model" \
  --arg 'options={"temperature": 0.2}' --replace
printf '%s' "$question" | sire predict "ollama-$model" -i - --from text --stream
sire ps
