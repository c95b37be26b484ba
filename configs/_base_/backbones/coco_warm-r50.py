# A ResNet-50 with gates for COCO, of which no ImageNet weights exist: it starts as torchvision's plain ResNet-50
# and computes what that does, until the gates learn. In a frozen stage they could not: the stem alone is frozen.
# Norm statistics are kept, also in the gates, where they are 0 and 1.
# After an ImageNet training of your own (configs/imagenet):
#   --cfg-options model.backbone.init_cfg.checkpoint=work_dirs/…/epoch_100.pth \
#     model.backbone.init_cfg.warm_start=False model.backbone.frozen_stages=1
# Gates with a learning rate of their own: configs/coco_detection/faster-rcnn_se-r50-warm_fpn_1x_coco.py
backbone = dict(
    depth=50,
    frozen_stages=0,
    norm_eval=True,
    init_cfg=dict(type='inimg_mm.Pretrained', checkpoint='torchvision://resnet50', warm_start=True),
)
