"""The two claims of whole-graph training, ResNet-50 and BERT: how much comes from where."""
