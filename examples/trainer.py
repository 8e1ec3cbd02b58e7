"""transformers' Trainer on what a teacher said: stored rows, found by each sample's key.

LIMBECK_DATA=FOLDER_OF_TREC6 python examples/trainer.py
"""

import torch
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import limbeck
from limbeck.losses import soft_targets
from limbeck.targets import TargetsCollator, add_keys, split_batch

data = limbeck.data.load("trec", path="trec6", validation=0.1, options={"max_length": 16})


def bert(width: int) -> BertForSequenceClassification:
    sizes = {"vocab_size": len(data.vocabulary), "num_labels": data.head.size}
    sizes |= {"hidden_size": width, "intermediate_size": 2 * width}
    return BertForSequenceClassification(
        BertConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)
    )


class Distiller(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **_):
        inputs, taught = split_batch(inputs, targets)
        output = model(**inputs)
        loss = soft_targets(output.logits, taught["label"].logits, temperature=2.0).mean()
        return (loss, output) if return_outputs else loss


torch.manual_seed(0)
teacher = bert(64)
limbeck.supervise(teacher, data, limbeck.Train(epochs=3, batch_size=128, learning_rate=4e-3))
targets = limbeck.capture(teacher, data, "runs/trainer", temperature=2.0)
del teacher  # from here on there is only what it said, and no label is read
questions = add_keys(Dataset.from_dict(data.train.inputs), ["input_ids", "attention_mask"])
arguments = TrainingArguments(
    "runs/trainer-student",
    num_train_epochs=4,
    per_device_train_batch_size=128,
    learning_rate=1e-2,
    remove_unused_columns=False,
    report_to="none",
    save_strategy="no",
)
student = bert(16)
questions = questions.with_format("torch").shuffle(seed=0)
Distiller(student, arguments, TargetsCollator(targets), train_dataset=questions).train()
print(f"test accuracy of the student: {limbeck.evaluate(student, data).score:.3f}")
